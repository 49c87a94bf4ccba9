"""Everything that Cutwork stores in Redis: jobs, outcomes, runs, deliveries, throughput."""
