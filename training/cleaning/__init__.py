"""From crawled photos to clean products: duplicates out, wrong photos out, and one product under several labels
merged.

Every step writes marks (`marks`), which say what was decided about which photo and why; nothing is deleted, and every
mark can be undone.
"""
