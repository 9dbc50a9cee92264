"""Training: what each loss, step, hash layer and trunk adds, on photos that were held out."""
