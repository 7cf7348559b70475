"""Questions of the field, each answered by one command that anyone can run again.

    python -m experiments.readings
    python -m experiments.positions
    python -m experiments.masked_attention
    python -m experiments.three_for_one

Each is recipes and a thin driver around the library's own training, readings and metrics.
"""
