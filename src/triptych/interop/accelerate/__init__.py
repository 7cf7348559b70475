"""Models and processors of transformers, made quicker in place."""
