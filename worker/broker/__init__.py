"""The worker's side of the broker: deliveries, message checks, shutdown, and library patches."""
