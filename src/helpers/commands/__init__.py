"""What each command of the command line does, one module for each group of `helpers --help`: functions of the parsed
arguments, which print to standard output."""
