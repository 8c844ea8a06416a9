"""Why an item is recommended: evidence, the facts it comes to, the writer and the checker.

Import `gather`, `state`, `ReasonWriter`.
"""
