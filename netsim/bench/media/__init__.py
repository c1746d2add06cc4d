"""What media costs and how it sounds and looks at the other end, ours and stock aiortc's side by side."""
