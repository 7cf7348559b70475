"""Large images: cut into windows that overlap, and put together again in all three readings."""
