"""Everything Cutwork keeps in Redis: jobs, outcomes, runs, deliveries, throughput."""
