"""The stages between samples and turns, in the order data flows.

    samples -> vad -> regions -> windows -> embedding -> (clustering) -> boundaries -> turns

A stage takes items with `push` and gives what they settled; `finish` gives the rest. None imports
another; what one hands to the next is defined in `diarize.stages.items`.
"""
