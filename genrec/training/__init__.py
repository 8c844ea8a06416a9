"""What learns from a workspace: one `train_*.py` for each `genrec train` command, over the parts it is made of.

The CLI imports it.
"""
