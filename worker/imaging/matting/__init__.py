"""Alpha matting: trimap, closed-form alpha, foreground colours."""
