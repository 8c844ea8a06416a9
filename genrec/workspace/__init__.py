"""The folder of one catalogue: settings, tables in, builds, what a build made back into memory, adapters in use, the doctor."""
