"""The live page: a web server over a pipeline, and what a browser shows of it."""
