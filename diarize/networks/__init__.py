"""The neural networks, one readable file each; they load published checkpoints as they are."""
