"""Lists of sources and destinations: CSV, JSON Lines, Parquet."""
