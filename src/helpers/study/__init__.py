"""How results are made and kept: the graph of stages, the store that runs them, plans of time and memory, publication."""
