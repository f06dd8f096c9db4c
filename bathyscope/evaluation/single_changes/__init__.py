"""Do directions learnt where several concepts changed at once steer each of them alone?"""
