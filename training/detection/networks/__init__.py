"""Networks that find products: the small one, YOLOv3's kind of head, and torchvision's. `build.py` chooses."""
