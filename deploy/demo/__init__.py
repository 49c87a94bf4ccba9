"""`make demo`: five photographs through a real broker, S3 and worker, with pages that show them."""
