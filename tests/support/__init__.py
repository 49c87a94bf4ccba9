"""What several tests share: files, servers, models and photographs made for them."""
