e h d g d a
e e d a b b
b a e g h a
a a
g c
a e c a
c h f
d c d a
c g c c f
h d h
a b f
d e d
h f f
b f d e c
a c h h c
c h
d c a
e b
d g g g e a
c b f
