"""Redis as Celery's broker: messages checked, acknowledged, requeued and routed."""
