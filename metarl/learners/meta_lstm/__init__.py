"""The Meta-LSTM: adapts from its memory alone."""
