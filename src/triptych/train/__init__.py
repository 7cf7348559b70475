"""Training wing: matching, losses and the loop. Nothing outside imports it but the command."""
