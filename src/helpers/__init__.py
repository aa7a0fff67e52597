"""The core of the book: who copies what, from sound to verdict (`study.graph` draws how data flows)."""
