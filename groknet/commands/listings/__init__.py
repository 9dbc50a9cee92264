"""Commands about listings: send, remove, show, find, and follow them."""
