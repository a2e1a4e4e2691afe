"""prototype"""
from __future__ import annotations
import heapq, time
from dataclasses import dataclass, replace, field
import numpy as np
from scipy import linalg
from climbopt.backends import Options
from climbopt.backends.newton import Newton
from climbopt.bounds.relaxation import Box, Relaxable, relax
from climbopt.bounds.relaxed import Relaxed, frank_wolfe
from climbopt.bounds.convexity import least_curvature
from climbopt.polytope import Polytope, EmptyPolytopeError
from climbopt.quadratic import project
from climbopt.standard_form import StandardForm, MixtureFunctions, Combination, Affine
from scipy.sparse import csr_array

def boxed(p, box):
    q = replace(p, x_lower=box.lower, x_upper=box.upper)
    return q

class BB:
    def __init__(self, form, verbose=True):
        self.form=form; self.fn=form.functions; f=self.fn.objective
        self.root=Box(form.polytope.x_lower.copy(), np.minimum(form.polytope.x_upper,1.0))
        self.relaxable=Relaxable(self.fn,f.x_part,f.z_part,f.loss_part,f.constant,form.polytope)
        eq=form.polytope.dense[form.polytope.equation]
        self.tangent=linalg.null_space(eq)
        self.upper=np.inf; self.best=None
        self.newton=Newton(); self.solves=0
        self.verbose=verbose
    def solve(self, functions, box, start, tol=1e-6, shift=None):
        self.solves+=1
        p=boxed(self.form.polytope,box)
        x0=project(start,p)
        form=replace(self.form,polytope=p,functions=functions,c_lower=np.zeros(0),c_upper=np.zeros(0),c_sides=(),domain_rows=(),start=x0)
        sol=self.newton.solve(form,Options(tolerance=tol))
        x=sol.x if sol.x is not None else x0
        return x,p
    def local(self, box, start):
        g=replace(self.fn,constraints=Affine.build(self.form.n,len(self.fn.response.model.targets),0))
        x,p=self.solve(g,box,start)
        self.offer(x)
        return x
    def offer(self,x):
        v=self.fn.at(x).value
        if v<self.upper:
            self.upper=v; self.best=x
    def fbbt(self, box):
        lo,hi=box.lower.copy(),box.upper.copy()
        for _ in range(3):
            l2=np.maximum(lo,1-(hi.sum()-hi)); h2=np.minimum(hi,1-(lo.sum()-lo))
            if np.allclose(l2,lo,atol=1e-9) and np.allclose(h2,hi,atol=1e-9): break
            lo,hi=l2,h2
        if (lo>hi+1e-12).any(): return None
        return Box(lo,np.maximum(hi,lo))
    def bound(self, box, start):
        sep,gaps=relax(self.relaxable,box,start)
        R=Relaxed(self.relaxable,sep)
        x,p=self.solve(R,box,start)
        e=R.at(x); lb=frank_wolfe(e.value,e.gradient,x,p)
        return x,lb,R
    def obbt(self, box, x, R, lb, which=None, solves=2):
        lo,hi=box.lower.copy(),box.upper.copy()
        delta=self.upper-lb
        H=self.tangent.T@R.at(x).hessian(1.0,np.zeros(0))@self.tangent
        V=np.einsum('ij,jk,ik->i',self.tangent,np.linalg.pinv(H,hermitian=True),self.tangent)
        n=x.size
        for j in range(n):
            if hi[j]-lo[j]<1e-6: continue
            for s in (1,-1):
                if (s==1 and x[j]-lo[j]<1e-9) or (s==-1 and hi[j]-x[j]<1e-9): continue
                if V[j]<=0: continue
                mu=np.sqrt(V[j]/(2*max(delta,1e-12)))  # from f ~ lb + d^2/(2V): slope of level
                best=-np.inf; y=x
                for k in range(solves):
                    L=Shifted(R,s,j,1/mu if False else mu)
                    y,p=self.solve(L,Box(lo,hi),y,tol=1e-4)
                    e=L.at(y); v=frank_wolfe(e.value,e.gradient,y,p)-mu*self.upper
                    best=max(best,v)
                    used=R.at(y).value-lb
                    if 0.7*delta<used<1.3*delta: break
                    mu*=np.sqrt(max(used,1e-3*delta)/delta)
                if s==1: lo[j]=max(lo[j],best)
                else: hi[j]=min(hi[j],-best)
                if lo[j]>hi[j]: return None
        return self.fbbt(Box(lo,hi))
    def run(self, gap=1e-6, limit=60.0):
        t0=time.perf_counter()
        x=self.local(self.root,self.form.start)
        rng=np.random.default_rng(0)
        for _ in range(4):
            self.local(self.root, rng.dirichlet(np.ones(self.form.n)))
        box=self.fbbt(self.root); 
        x,lb,R=self.bound(box,self.best)
        self.offer(x)
        if self.verbose: print(f"root lb {lb:.8f} ub {self.upper:.8f} rel {(self.upper-lb)/abs(self.upper):.2e} t {time.perf_counter()-t0:.2f}")
        tol=gap*abs(self.upper)
        for r in range(30):
            if self.upper-lb<=tol: break
            w0=(box.upper-box.lower).sum()
            lc=least_curvature(self.relaxable,box,self.tangent)
            if lc>=0: 
                if self.verbose: print("convex at root", r); 
                break
            nb=self.obbt(box,x,R,lb)
            if nb is None: print("empty"); lb=self.upper; break
            box=nb
            x,lb2,R=self.bound(box,x); lb=max(lb,lb2); self.local(box,x)
            w1=(box.upper-box.lower).sum()
            if self.verbose: print(f"obbt {r} width {w1:.3f} lb {lb:.8f} rel {(self.upper-lb)/abs(self.upper):.2e} curv {lc:.3g} t {time.perf_counter()-t0:.2f} solves {self.solves}")
            if w1>0.8*w0: break
        heap=[(lb,0,box,x)]; count=1; nodes=0; low=lb; closed=0; done=[]
        floor=np.inf
        while heap:
            lb,_,box,x=heapq.heappop(heap)
            if self.upper-lb<=tol: floor=min(floor,lb); heap=[]; break
            if time.perf_counter()-t0>limit: heapq.heappush(heap,(lb,_,box,x)); break
            nodes+=1
            box=self.fbbt(box)
            if box is None: continue
            lc=least_curvature(self.relaxable,box,self.tangent)
            if lc>=0:
                y=self.local(box,x); g=self.fn.at(y)
                v=frank_wolfe(g.value,g.gradient,y,boxed(self.form.polytope,box)); floor=min(floor,max(v,lb)); closed+=1; continue
            y,v,R=self.bound(box,x)
            self.offer(y); v=max(v,lb)
            if self.upper-v<=tol: floor=min(floor,v); continue
            sep,gaps=relax(self.relaxable,box,y)
            w=box.upper-box.lower
            score=gaps*(w>1e-9)
            j=int(np.argmax(score)) if score.max()>0 else int(np.argmax(w))
            mid=0.5*(box.lower[j]+box.upper[j]); c=0.5*mid+0.5*np.clip(y[j],box.lower[j]+.1*w[j],box.upper[j]-.1*w[j])
            for a in (0,1):
                lo,hi=box.lower.copy(),box.upper.copy()
                if a==0: hi[j]=c
                else: lo[j]=c
                heapq.heappush(heap,(v,count,Box(lo,hi),y)); count+=1
            if nodes%200==0 and self.verbose: print(nodes,len(heap),f"{heap[0][0]:.8f} {self.upper:.8f} {(self.upper-min(heap[0][0],floor))/abs(self.upper):.2e} closed {closed} t {time.perf_counter()-t0:.1f}")
        lower=min(floor, heap[0][0] if heap else np.inf, )
        if lower==np.inf: lower=self.upper
        return dict(lower=lower,upper=self.upper,rel=(self.upper-lower)/abs(self.upper),nodes=nodes,closed=closed,solves=self.solves,seconds=time.perf_counter()-t0)

class Shifted:
    n_rows=0
    def __init__(self,R,s,j,mu): self.R,self.s,self.j,self.mu=R,s,j,mu
    def at(self,x): return ShAt(self,x)
    def convex(self,p,m): return True
class ShAt:
    def __init__(self,S,x): self.S=S; self.x=np.asarray(x,float); self.e=S.R.at(x)
    @property
    def value(self): return self.S.s*self.x[self.S.j]+self.S.mu*self.e.value
    @property
    def gradient(self):
        g=self.S.mu*self.e.gradient; g[self.S.j]+=self.S.s; return g
    rows=np.zeros(0)
    @property
    def jacobian(self): return np.zeros((0,self.x.size))
    def hessian(self,w,m): return self.S.mu*self.e.hessian(w,m)
