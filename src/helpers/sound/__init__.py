"""Sound: log-mels, alterations, the sound pack and what is mixed of it, corpora, and users' own audio."""
