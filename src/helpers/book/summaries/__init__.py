"""What the chapters tell, arranged from the tables of finished stages, a module a chapter.

A function takes tables, or the folder of a stage, and returns the table to show, with the columns as the page names them;
of sound only `prompt_match_and_silence` knows.
"""
