"""Images: decoding, resizing, cutting plots into tiles, and composing plots. No model runs here."""
