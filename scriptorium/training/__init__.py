"""One training run: its options, folder, saves, console, TensorBoard and loop."""
