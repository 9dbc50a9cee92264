"""Photos and labels of one product: photos that show something else, and labels that are one."""
