"""The data that producers and workers exchange: jobs, options, outcomes, runs, S3 URIs."""
