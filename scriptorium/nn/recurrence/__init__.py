"""The loops of LSTM and GRU: the equations of a step, and a loop for each backend."""
