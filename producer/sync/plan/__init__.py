"""What is to be done with each input: listings compared, or a manifest read. Pure but for S3."""
