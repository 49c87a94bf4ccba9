"""Alpha matting: the trimap, the alpha that solves it, the colours of foreground and background."""
