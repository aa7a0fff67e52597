"""The audit of another model: folders of audio in, and for each clip how near it comes to a training clip."""
