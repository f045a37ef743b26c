"""What people and machines read: `result.json`, label maps, pictures and the PDF."""
