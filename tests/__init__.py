"""Makes `tests.helpers` importable with every release of pytest."""
