"""What is said of listings together: products, prices, and what goes with what."""
