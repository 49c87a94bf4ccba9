"""What lies under a prefix of S3, in key order, read in parallel."""
