"""``python -m diarize`` is the command ``diarize``."""

from diarize.cli import main

main()
