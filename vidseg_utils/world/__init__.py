"""The world behind the pictures: the camera, the three solids and their silhouettes, and how objects move in time."""
