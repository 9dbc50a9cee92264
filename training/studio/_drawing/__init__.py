"""From a mesh to pixels: the scene, light and shadow, materials and prints, and the room around it."""
