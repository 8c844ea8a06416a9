"""A plugin of vLLM. This folder goes on the server's PYTHONPATH (`genrec llm serve`), where vLLM finds it by its entry point; an
environment that has genrec installed finds the same by genrec's own.
"""
