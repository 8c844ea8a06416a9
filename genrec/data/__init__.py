"""Tables in: items, people, events and triples from Parquet, CSV and JSON, pictures checked, faults reported by place.

Import the readers from `genrec.data.table_readers`, the report from `genrec.data.ingest_report`.
"""
