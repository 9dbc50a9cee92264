"""What remembers an event from its taking until its offset may be committed."""
