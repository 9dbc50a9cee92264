"""Commands that make, describe and measure bundles, engines and data sets."""
