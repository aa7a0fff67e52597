"""Readers of weights that others published: AudioLDM, TANGO, FLAN-T5, LAION's CLAP."""
