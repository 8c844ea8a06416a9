"""Why an item is recommended. Evidence is computed (`evidence.py`) and put in words (`facts.py`), a reason is written from these
facts (`reason_writer.py`) and shown only if it says nothing else (`reason_checker.py`).

Import `gather_evidence`, `facts_of`, `reason_checker.fault` and `ReasonWriter` from their files.
"""
