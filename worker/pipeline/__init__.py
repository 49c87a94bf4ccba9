"""One job from its source to its outputs: fetch, decode, segment, refine, encode, store."""
