a b e h e
f c e c b
g a
a e c b h
c c
h c c e e e
b g d
e a a f
g c d g
e g
e f
g h g
c f g e
h b h
g g
g h g f f b
e a g b g
g e e g d
g b d g h
a f e e b h
